"""A result: what won, by how much, at which cost; as a table, as JSON, as one offline page, live."""
