"""What may be said and shown: rule packs as data, the claim ledger, sensitive interests, consent."""
