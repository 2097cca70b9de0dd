# The knowledge base: runbooks in S3, embedded by Titan V2, searched in S3 Vectors. `copilot kb` brings them there.
locals {
  embedding_model_arn = "${local.arn}:bedrock:${var.region}::foundation-model/amazon.titan-embed-text-v2:0"
  dimensions          = 1024
}

resource "aws_s3vectors_vector_bucket" "this" {
  vector_bucket_name = "${var.name}-vectors-${data.aws_caller_identity.current.account_id}"
}

# Cosine is what [knowledge] least_score is meant for. Bedrock keeps a passage's text and where it is from with each
# vector; as filterable metadata that would not fit. Encrypted by S3 itself: the text is that of the runbooks.
resource "aws_s3vectors_index" "this" {
  vector_bucket_name = aws_s3vectors_vector_bucket.this.vector_bucket_name
  index_name         = "runbooks"
  data_type          = "float32"
  dimension          = local.dimensions
  distance_metric    = "cosine"

  metadata_configuration {
    non_filterable_metadata_keys = ["AMAZON_BEDROCK_TEXT", "AMAZON_BEDROCK_METADATA"]
  }
}

resource "aws_s3vectors_vector_bucket_policy" "this" {
  vector_bucket_arn = aws_s3vectors_vector_bucket.this.vector_bucket_arn
  policy            = data.aws_iam_policy_document.vectors.json
}

data "aws_iam_policy_document" "vectors" {
  statement {
    sid       = "BedrockKeepsVectors"
    actions   = ["s3vectors:DeleteVectors", "s3vectors:GetIndex", "s3vectors:GetVectors", "s3vectors:ListVectors", "s3vectors:PutVectors", "s3vectors:QueryVectors"]
    resources = [aws_s3vectors_index.this.index_arn]

    principals {
      type        = "AWS"
      identifiers = [aws_iam_role.knowledge.arn]
    }
  }
}

resource "aws_bedrockagent_knowledge_base" "this" {
  name        = var.name
  description = "Runbooks for Temporal"
  role_arn    = aws_iam_role.knowledge.arn

  knowledge_base_configuration {
    type = "VECTOR"

    vector_knowledge_base_configuration {
      embedding_model_arn = local.embedding_model_arn

      embedding_model_configuration {
        bedrock_embedding_model_configuration {
          dimensions          = local.dimensions
          embedding_data_type = "FLOAT32"
        }
      }
    }
  }

  storage_configuration {
    type = "S3_VECTORS"

    s3_vectors_configuration {
      index_arn = aws_s3vectors_index.this.index_arn
    }
  }

  # Bedrock tries the role when the knowledge base is made.
  depends_on = [aws_iam_role_policy.knowledge, aws_s3vectors_vector_bucket_policy.this]
}

resource "aws_bedrockagent_data_source" "runbooks" {
  name                 = "runbooks"
  knowledge_base_id    = aws_bedrockagent_knowledge_base.this.id
  data_deletion_policy = "DELETE"

  data_source_configuration {
    type = "S3"

    s3_configuration {
      bucket_arn              = aws_s3_bucket.runbooks.arn
      bucket_owner_account_id = data.aws_caller_identity.current.account_id
      inclusion_prefixes      = [var.knowledge_prefix]
    }
  }

  # A section of a runbook is about this long.
  vector_ingestion_configuration {
    chunking_configuration {
      chunking_strategy = "FIXED_SIZE"

      fixed_size_chunking_configuration {
        max_tokens         = 300
        overlap_percentage = 20
      }
    }
  }
}
