"""Quality of uncertainty: predictive summaries, and the scores and diagrams made of them."""
