variable "name" {
  description = "What everything is named after; two installations in one account need two names."
  type        = string
  default     = "copilot"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,19}$", var.name))
    error_message = "2 to 20 small letters, digits and hyphens, a letter first."
  }
}

variable "region" {
  description = "The AWS region everything is made in."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "A region such as eu-west-1."
  }
}

variable "tags" {
  description = "Tags for everything, besides app and managed-by."
  type        = map(string)
  default     = {}
}

variable "copilot_image" {
  description = "The Copilot's image (deploy/docker/Dockerfile), pinned: REPOSITORY@sha256:DIGEST, or REPOSITORY:VERSION."
  type        = string

  validation {
    condition     = can(regex("^[^@:]+(:[0-9]+/[^@:]+)?(@sha256:[0-9a-f]{64}|:[A-Za-z0-9._-]+)$", var.copilot_image)) && !endswith(var.copilot_image, ":latest")
    error_message = "An image with its digest or version, not latest."
  }
}

variable "ecr_repository_arns" {
  description = "The ECR repositories the images come from: tasks may pull from these and no others."
  type        = list(string)

  validation {
    condition     = length(var.ecr_repository_arns) > 0 && alltrue([for arn in var.ecr_repository_arns : can(regex("^arn:[^:]+:ecr:[^:]+:[0-9]{12}:repository/.+$", arn))])
    error_message = "One or more ARNs of ECR repositories."
  }
}

variable "worker_count" {
  description = "How many workers run, at least and at most."
  type        = object({ min = number, max = number })
  default     = { min = 1, max = 4 }

  validation {
    condition     = var.worker_count.min >= 1 && var.worker_count.max >= var.worker_count.min
    error_message = "At least one worker, and max not below min."
  }
}

variable "api_count" {
  description = "How many API tasks run, at least and at most."
  type        = object({ min = number, max = number })
  default     = { min = 2, max = 4 }

  validation {
    condition     = var.api_count.min >= 1 && var.api_count.max >= var.api_count.min
    error_message = "At least one API task, and max not below min."
  }
}

variable "log_level" {
  description = "What the Copilot logs: debug, info, warning or error."
  type        = string
  default     = "info"

  validation {
    condition     = contains(["debug", "info", "warning", "error"], var.log_level)
    error_message = "debug, info, warning or error."
  }
}

variable "log_retention_days" {
  description = "How long CloudWatch keeps our own logs; a number of days CloudWatch knows."
  type        = number
  default     = 400

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1827], var.log_retention_days)
    error_message = "One of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1827."
  }
}
