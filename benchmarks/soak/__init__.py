"""The service under load for as long as one likes, killed and restarted, every answer of a sample judged."""
