"""Read models: a package a context, one file each with its row, fold and queries; `engine` keeps them up to date."""
