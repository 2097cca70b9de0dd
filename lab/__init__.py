"""The incident lab: scenarios on real servers, their recordings and labels, and a judge of the verdicts."""
