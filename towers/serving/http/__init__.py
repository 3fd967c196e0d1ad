"""HTTP in front of the retriever: requests, events, videos and people, in JSON."""
