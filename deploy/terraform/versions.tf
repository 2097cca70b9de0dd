terraform {
  required_version = ">= 1.11.0" # S3 locks its own state since then

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "6.62.0"
    }
  }

  # The state holds names and addresses, no secrets; it is encrypted and locked all the same. What is empty here comes
  # from backend.hcl (see backend.hcl.example): terraform init -backend-config=backend.hcl
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = merge({ "app" = var.name, "managed-by" = "terraform" }, var.tags)
  }
}

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}
