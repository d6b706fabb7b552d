"""What a release publishes beside the code: the facts of publication.toml in every file, the bill of materials, and the
steps that a person takes."""
