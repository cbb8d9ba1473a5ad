"""Export to distributed-llama (github.com/b4rtaz/distributed-llama, read at v0.16.4): its model and tokenizer files."""
