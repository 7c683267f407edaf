"""Planning: a grid becomes cells; the summary that reporting needs of them is kept in the store."""
