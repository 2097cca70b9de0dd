# The API reads the store, and asks the loops over Temporal, which is no matter of IAM.
resource "aws_iam_role" "api" {
  name               = "${var.name}-api"
  description        = "The Copilot's API"
  assume_role_policy = data.aws_iam_policy_document.ecs_assumes.json
}

resource "aws_iam_role_policy" "api_store" {
  name   = "store"
  role   = aws_iam_role.api.id
  policy = data.aws_iam_policy_document.connects["store"].json
}
