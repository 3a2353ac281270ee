"""What leaves the machine: trained models and data sets with their cards, to the Hugging Face hub."""
