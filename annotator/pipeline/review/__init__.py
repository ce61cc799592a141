"""Human review in Label Studio: setting it up, sending people out, taking votes in, and when there are enough."""
