"""What AdTailor costs on AWS, and where it meets its limits: computed from the template, from counted calls and from
measured times."""
