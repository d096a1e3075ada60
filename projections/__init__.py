"""Read models: one file each with its row, fold and queries; runner.py drives them all."""
