"""Who may send requests, and how many: tokens in force, origins, rates, and the certificate of the API."""
