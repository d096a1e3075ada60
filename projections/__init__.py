"""Read models: one package per context, one file per read model with its row, fold and queries. `engine` runs them."""
