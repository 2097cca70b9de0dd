# One key for what we keep: logs and runbooks.
resource "aws_kms_key" "this" {
  description             = "${var.name}: logs and runbooks"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.key.json
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.this.key_id
}

data "aws_iam_policy_document" "key" {
  # checkov:skip=CKV_AWS_109:a key's policy that names no administrator locks everybody out
  # checkov:skip=CKV_AWS_111:in a key's policy the resource * is the key itself
  # checkov:skip=CKV_AWS_356:in a key's policy the resource * is the key itself
  statement {
    sid = "AccountAdministersByIam"
    # Wildcard: KMS asks for it; who of the account may do what is then said by IAM.
    actions   = ["kms:*"]
    resources = ["*"] # the key itself: a key's policy knows no other resource

    principals {
      type        = "AWS"
      identifiers = ["arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}:root"]
    }
  }

  statement {
    sid       = "CloudWatchEncryptsOurLogs"
    actions   = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:GenerateDataKey", "kms:DescribeKey"]
    resources = ["*"] # the key itself

    principals {
      type        = "Service"
      identifiers = ["logs.${var.region}.amazonaws.com"]
    }

    condition {
      test     = "ArnLike"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values   = ["arn:${data.aws_partition.current.partition}:logs:${var.region}:${data.aws_caller_identity.current.account_id}:log-group:/ecs/${var.name}/*"]
    }
  }
}
