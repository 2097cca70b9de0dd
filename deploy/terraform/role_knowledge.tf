# Bedrock works on the knowledge base as this role: reads the runbooks, embeds them, keeps and searches the vectors.
resource "aws_iam_role" "knowledge" {
  name               = "${var.name}-knowledge"
  description        = "Bedrock works on the knowledge base of ${var.name}"
  assume_role_policy = data.aws_iam_policy_document.bedrock_assumes.json
}

resource "aws_iam_role_policy" "knowledge" {
  name   = "knowledge"
  role   = aws_iam_role.knowledge.id
  policy = data.aws_iam_policy_document.knowledge.json
}

data "aws_iam_policy_document" "bedrock_assumes" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["bedrock.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["${local.arn}:bedrock:${local.account}:knowledge-base/*"] # its id is not known before the role is
    }
  }
}

data "aws_iam_policy_document" "knowledge" {
  statement {
    sid       = "EmbedRunbooks"
    actions   = ["bedrock:InvokeModel"]
    resources = [local.embedding_model_arn]
  }

  statement {
    sid       = "ListRunbooks"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.runbooks.arn]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["${var.knowledge_prefix}*"]
    }
  }

  statement {
    sid       = "ReadRunbooks"
    actions   = ["s3:GetObject"]
    resources = ["${aws_s3_bucket.runbooks.arn}/${var.knowledge_prefix}*"] # every runbook
  }

  statement {
    sid       = "DecryptRunbooks"
    actions   = ["kms:Decrypt"]
    resources = [aws_kms_key.this.arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["s3.${var.region}.amazonaws.com"]
    }
  }

  statement {
    sid       = "KeepVectors"
    actions   = ["s3vectors:DeleteVectors", "s3vectors:GetIndex", "s3vectors:GetVectors", "s3vectors:ListVectors", "s3vectors:PutVectors", "s3vectors:QueryVectors"]
    resources = [aws_s3vectors_index.this.index_arn]
  }
}

# For people and pipelines that run `copilot kb sync` and `copilot kb start-ingestion`: attach it to their role.
resource "aws_iam_policy" "runbooks" {
  name        = "${var.name}-runbooks"
  description = "copilot kb: bring the runbooks to the knowledge base"
  policy      = data.aws_iam_policy_document.runbooks.json
}

data "aws_iam_policy_document" "runbooks" {
  statement {
    sid       = "ListRunbooks"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.runbooks.arn]
  }

  statement {
    sid       = "WriteRunbooks"
    actions   = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
    resources = ["${aws_s3_bucket.runbooks.arn}/${var.knowledge_prefix}*"] # every runbook
  }

  statement {
    sid       = "EncryptRunbooks"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [aws_kms_key.this.arn]
  }

  statement {
    sid       = "ReadThemIn"
    actions   = ["bedrock:GetIngestionJob", "bedrock:GetKnowledgeBase", "bedrock:ListIngestionJobs", "bedrock:Retrieve", "bedrock:StartIngestionJob"]
    resources = [aws_bedrockagent_knowledge_base.this.arn]
  }
}
