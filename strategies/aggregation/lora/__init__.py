"""LoRA aggregation as linear algebra on factor pairs, dW = s B A, without forming dW."""
