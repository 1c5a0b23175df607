"""The common layer of AdTailor: everything the four functions share, deployed as one Lambda layer."""
