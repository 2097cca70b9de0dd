# The Copilot's own Temporal uses its own database, and no other.
resource "aws_iam_role" "temporal" {
  name               = "${var.name}-temporal"
  description        = "The Copilot's own Temporal server"
  assume_role_policy = data.aws_iam_policy_document.ecs_assumes.json
}

resource "aws_iam_role_policy" "temporal_database" {
  name   = "database"
  role   = aws_iam_role.temporal.id
  policy = data.aws_iam_policy_document.connects["temporal"].json
}
