"""The LLM: loading it and an adapter, its tokenizer, running it over batches."""
