"""Everything that builds, trains, deploys, measures or runs AdTailor; never imported by functions/ or shared/."""
