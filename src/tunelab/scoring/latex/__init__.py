"""Answers in LaTeX: taken out of a solution, and compared as text and as mathematics."""
