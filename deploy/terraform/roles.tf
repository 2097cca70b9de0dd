# Who may do what. Each role may do what its process calls and nothing else.
locals {
  account = "${var.region}:${data.aws_caller_identity.current.account_id}"
  arn     = "arn:${data.aws_partition.current.partition}"

  dsql_cluster_arns = {
    for user, endpoint in { store = var.dsql_endpoint, temporal = var.temporal_dsql_endpoint } :
    user => "${local.arn}:dsql:${split(".", endpoint)[2]}:${data.aws_caller_identity.current.account_id}:cluster/${split(".", endpoint)[0]}"
  }
}

# ECS starts tasks as these roles, for tasks of this account and region only.
data "aws_iam_policy_document" "ecs_assumes" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["${local.arn}:ecs:${local.account}:*"]
    }
  }
}

# Only as a role that is not admin: dsql:DbConnectAdmin is nowhere.
data "aws_iam_policy_document" "connects" {
  for_each = local.dsql_cluster_arns

  statement {
    sid       = "ConnectToTheDatabase"
    actions   = ["dsql:DbConnect"]
    resources = [each.value]
  }
}
