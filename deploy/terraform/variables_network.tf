variable "vpc_id" {
  description = "The VPC of the tasks; the watched cluster, Loki and whoever calls the API are reached from it."
  type        = string

  validation {
    condition     = startswith(var.vpc_id, "vpc-")
    error_message = "The id of a VPC."
  }
}

variable "private_subnet_ids" {
  description = "Subnets of the tasks, in two zones or more, without public addresses."
  type        = list(string)

  validation {
    condition     = length(var.private_subnet_ids) >= 2 && alltrue([for id in var.private_subnet_ids : startswith(id, "subnet-")])
    error_message = "Two or more ids of subnets."
  }
}

variable "route_table_ids" {
  description = "Route tables of these subnets, for the gateway endpoint of S3."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for id in var.route_table_ids : startswith(id, "rtb-")])
    error_message = "Ids of route tables."
  }
}

variable "create_vpc_endpoints" {
  description = "Make endpoints for the AWS services we call. False where the VPC has them: then say where in https_egress_cidr_blocks."
  type        = bool
  default     = true
}

variable "https_egress_cidr_blocks" {
  description = "Where else HTTPS may go: a Loki with TLS, OpenSearch, Slack or PagerDuty, a model provider other than Bedrock, the VPC's own endpoints."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for block in var.https_egress_cidr_blocks : can(cidrhost(block, 0))])
    error_message = "CIDR blocks."
  }
}

variable "watched_temporal_cidr_blocks" {
  description = "Where the frontends of the watched clusters are; port 7233 is opened to them."
  type        = list(string)

  validation {
    condition     = alltrue([for block in var.watched_temporal_cidr_blocks : can(cidrhost(block, 0)) && block != "0.0.0.0/0"])
    error_message = "CIDR blocks, and not the whole world."
  }
}

variable "loki_cidr_blocks" {
  description = "Where Loki is; port 3100 is opened to it. Empty without a Loki on that port."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for block in var.loki_cidr_blocks : can(cidrhost(block, 0)) && block != "0.0.0.0/0"])
    error_message = "CIDR blocks, and not the whole world."
  }
}

variable "api_target_group_arns" {
  description = "Target groups of your load balancer that the API's tasks join: type ip, protocol HTTP, health check /healthz."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.api_target_group_arns : can(regex("^arn:[^:]+:elasticloadbalancing:[^:]+:[0-9]{12}:targetgroup/.+$", arn))])
    error_message = "ARNs of target groups."
  }
}

variable "api_client_security_group_ids" {
  description = "Whoever has one of these security groups may call the API (Grafana, a bastion, a load balancer), with a token of api_tokens_secret_arn."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for id in var.api_client_security_group_ids : startswith(id, "sg-")])
    error_message = "Ids of security groups."
  }
}
