variable "dsql_endpoint" {
  description = "The Aurora DSQL cluster of the state store: ID.dsql.REGION.on.aws."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]{26}\\.dsql[a-z0-9-]*\\.[a-z0-9-]+\\.on\\.aws$", var.dsql_endpoint))
    error_message = "An endpoint such as abcdefghijklmnopqrstuvwxyz.dsql.eu-west-1.on.aws."
  }
}

variable "dsql_role" {
  description = "The database role of the Copilot. Its default schema has the same name and is its own (see README.md)."
  type        = string
  default     = "copilot"

  validation {
    condition     = can(regex("^[a-z_][a-z0-9_]{0,62}$", var.dsql_role)) && var.dsql_role != "admin"
    error_message = "A database role, and not admin."
  }
}

variable "temporal_dsql_endpoint" {
  description = "The Aurora DSQL cluster of the Copilot's own Temporal; another one than that of the watched Temporal."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]{26}\\.dsql[a-z0-9-]*\\.[a-z0-9-]+\\.on\\.aws$", var.temporal_dsql_endpoint))
    error_message = "An endpoint such as abcdefghijklmnopqrstuvwxyz.dsql.eu-west-1.on.aws."
  }
}

variable "temporal_dsql_role" {
  description = "The database role of the Copilot's own Temporal."
  type        = string
  default     = "temporal"

  validation {
    condition     = can(regex("^[a-z_][a-z0-9_]{0,62}$", var.temporal_dsql_role)) && var.temporal_dsql_role != "admin"
    error_message = "A database role, and not admin."
  }
}

variable "dsql_endpoint_service_names" {
  description = "PrivateLink services of the DSQL clusters (vpc_endpoint_service_name of aws_dsql_cluster), each once. Empty: they are reached over the internet's addresses, through NAT."
  type        = set(string)
  default     = []
}

variable "amp_workspace_id" {
  description = "The Amazon Managed Prometheus workspace with the watched clusters' metrics."
  type        = string

  validation {
    condition     = can(regex("^ws-[0-9a-f-]{36}$", var.amp_workspace_id))
    error_message = "The id of a workspace: ws- and a UUID."
  }
}

variable "loki_url" {
  description = "What stands before /loki/api/v1 at the Loki with the watched servers' logs; null without one."
  type        = string
  default     = null

  validation {
    condition     = var.loki_url == null || can(regex("^https?://[^/@]+", var.loki_url))
    error_message = "An http:// or https:// address."
  }
}

variable "clusters" {
  description = "The watched clusters. selector: label matchers that tell one cluster's metrics from another's; log_query: the Loki selector of its servers' lines; temporal_address: its frontend, HOST:7233."
  type = list(object({
    name             = string
    temporal_address = optional(string)
    selector         = optional(string, "")
    log_query        = optional(string)
  }))

  validation {
    condition     = length(var.clusters) > 0 && length(distinct(var.clusters[*].name)) == length(var.clusters)
    error_message = "One cluster or more, each with a name of its own."
  }
}

variable "knowledge_prefix" {
  description = "Under which prefix of the knowledge bucket the runbooks lie; ends with a slash."
  type        = string
  default     = "runbooks/"

  validation {
    condition     = endswith(var.knowledge_prefix, "/")
    error_message = "It ends with a slash."
  }
}

variable "bedrock_model_ids" {
  description = "Foundation models the worker may call, with those that its inference profiles lead to. Empty: no model, the rules' words only."
  type        = list(string)
  default     = []
}

variable "bedrock_inference_profile_ids" {
  description = "Inference profiles the worker may call, such as eu.anthropic.MODEL."
  type        = list(string)
  default     = []
}

variable "worker_environment" {
  description = "Further environment of the worker: settings of the Copilot by their COPILOT_ names, or what a model provider's client reads."
  type        = map(string)
  default     = {}
}

variable "api_environment" {
  description = "Further environment of the API: settings of the Copilot by their COPILOT_ names."
  type        = map(string)
  default     = {}
}

variable "api_tokens_secret_arn" {
  description = "The secret in Secrets Manager with who may ask the API: {\"grafana\": \"sha256:…\"}, names and hashes as `copilot token new` prints them. Its whole ARN, with the six characters at its end."
  type        = string

  validation {
    condition     = can(regex("^arn:[^:]+:secretsmanager:[^:]+:[0-9]{12}:secret:[^:]+-[A-Za-z0-9]{6}$", var.api_tokens_secret_arn))
    error_message = "The whole ARN of a secret in Secrets Manager; it ends with a hyphen and six characters."
  }
}

variable "worker_secrets" {
  description = "Environment of the worker that comes out of Secrets Manager: name → ARN of the secret, or ARN:KEY:: for one key of its JSON. One under a key of your own needs kms:Decrypt for the execution role besides."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for arn in values(var.worker_secrets) : can(regex("^arn:[^:]+:secretsmanager:[^:]+:[0-9]{12}:secret:[^:]+(:[^:]*:[^:]*:[^:]*)?$", arn))])
    error_message = "ARNs of secrets in Secrets Manager, each alone or followed by :KEY::."
  }
}
