"""The corridor: joins the rooms to the store."""
