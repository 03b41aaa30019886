"""The study of decorrelation: methods that keep a score from sculpting a spectrum, compared on the same jets."""
