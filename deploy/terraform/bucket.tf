# The runbooks' bucket: versioned, encrypted with our key, never public, only over TLS.
resource "aws_s3_bucket" "runbooks" {
  # checkov:skip=CKV_AWS_18:runbooks are no secret; who changed them stands in CloudTrail and in the versions
  # checkov:skip=CKV_AWS_144:the runbooks are in the repository, from where `copilot kb sync` brings them again
  # checkov:skip=CKV2_AWS_62:ingestion is started by `copilot kb start-ingestion`, not by an event
  bucket = "${var.name}-runbooks-${data.aws_caller_identity.current.account_id}-${var.region}"
}

resource "aws_s3_bucket_versioning" "runbooks" {
  bucket = aws_s3_bucket.runbooks.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "runbooks" {
  bucket = aws_s3_bucket.runbooks.id

  rule {
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.this.arn
    }
  }
}

resource "aws_s3_bucket_public_access_block" "runbooks" {
  bucket = aws_s3_bucket.runbooks.id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_lifecycle_configuration" "runbooks" {
  bucket = aws_s3_bucket.runbooks.id

  rule {
    id     = "old-versions"
    status = "Enabled"

    filter {}

    noncurrent_version_expiration {
      noncurrent_days = 90
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  depends_on = [aws_s3_bucket_versioning.runbooks]
}

resource "aws_s3_bucket_policy" "runbooks" {
  bucket = aws_s3_bucket.runbooks.id
  policy = data.aws_iam_policy_document.bucket.json
}

data "aws_iam_policy_document" "bucket" {
  statement {
    sid       = "BedrockReadsRunbooks"
    actions   = ["s3:GetObject"]
    resources = ["${aws_s3_bucket.runbooks.arn}/${var.knowledge_prefix}*"] # every runbook

    principals {
      type        = "AWS"
      identifiers = [aws_iam_role.knowledge.arn]
    }
  }

  statement {
    sid       = "BedrockListsRunbooks"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.runbooks.arn]

    principals {
      type        = "AWS"
      identifiers = [aws_iam_role.knowledge.arn]
    }
  }

  statement {
    sid    = "NothingWithoutTls"
    effect = "Deny"
    # Wildcard: it forbids.
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.runbooks.arn, "${aws_s3_bucket.runbooks.arn}/*"] # all of the bucket

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}
