"""The daemon side: takes bytes and messages, writes them down, answers what it sees. It never computes a joule."""
