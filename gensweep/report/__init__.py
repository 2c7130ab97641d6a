"""Show a result: as a table, as JSON, as one offline page, and live."""
