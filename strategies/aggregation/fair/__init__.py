"""Means of FairLoRA's factors, pure."""
