# The worker reads metrics, asks the knowledge base and models, and writes the store.
resource "aws_iam_role" "worker" {
  name               = "${var.name}-worker"
  description        = "The Copilot's worker"
  assume_role_policy = data.aws_iam_policy_document.ecs_assumes.json
}

resource "aws_iam_role_policy" "worker" {
  name   = "observe"
  role   = aws_iam_role.worker.id
  policy = data.aws_iam_policy_document.worker.json
}

resource "aws_iam_role_policy" "worker_store" {
  name   = "store"
  role   = aws_iam_role.worker.id
  policy = data.aws_iam_policy_document.connects["store"].json
}

data "aws_iam_policy_document" "worker" {
  statement {
    sid       = "QueryMetrics"
    actions   = ["aps:QueryMetrics"]
    resources = ["${local.arn}:aps:${local.account}:workspace/${var.amp_workspace_id}"]
  }

  statement {
    sid       = "LookUpRunbooks"
    actions   = ["bedrock:Retrieve"]
    resources = [aws_bedrockagent_knowledge_base.this.arn]
  }

  dynamic "statement" {
    for_each = length(local.model_arns) > 0 ? [1] : []

    content {
      sid       = "AskModels"
      actions   = ["bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream"]
      resources = local.model_arns
    }
  }
}

locals {
  model_arns = concat(
    # Any region: an inference profile calls the model in whichever region of its own has room.
    [for id in var.bedrock_model_ids : "${local.arn}:bedrock:*::foundation-model/${id}"],
    [for id in var.bedrock_inference_profile_ids : "${local.arn}:bedrock:${local.account}:inference-profile/${id}"],
  )
}
