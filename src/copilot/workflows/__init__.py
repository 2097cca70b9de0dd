"""The loops. They branch on recorded results only and know nothing of rules, thresholds or I/O."""
