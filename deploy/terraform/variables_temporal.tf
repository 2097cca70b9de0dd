variable "temporal_image" {
  description = "An image of the Temporal server with a DSQL persistence plugin, pinned by digest or version."
  type        = string

  validation {
    condition     = can(regex("^[^@:]+(:[0-9]+/[^@:]+)?(@sha256:[0-9a-f]{64}|:[A-Za-z0-9._-]+)$", var.temporal_image)) && !endswith(var.temporal_image, ":latest")
    error_message = "An image with its digest or version, not latest."
  }
}

variable "temporal_cpu_architecture" {
  description = "What the Temporal image was built for."
  type        = string
  default     = "X86_64"

  validation {
    condition     = contains(["X86_64", "ARM64"], var.temporal_cpu_architecture)
    error_message = "X86_64 or ARM64."
  }
}

variable "temporal_namespace" {
  description = "The namespace of the Copilot's loops in its own Temporal; it must be there."
  type        = string
  default     = "default"
}

variable "temporal_count" {
  description = "How many tasks of the Temporal server run, each with all its services."
  type        = number
  default     = 1

  validation {
    condition     = var.temporal_count >= 1
    error_message = "At least one."
  }
}

variable "temporal_history_shards" {
  description = "Shards of history; never to be changed once there is data. The Copilot's loops need few."
  type        = number
  default     = 4

  validation {
    condition     = var.temporal_history_shards >= 1
    error_message = "At least one."
  }
}

variable "temporal_command" {
  description = "The command of the Temporal image; empty: its own."
  type        = list(string)
  default     = []
}

variable "temporal_health_command" {
  description = "How the Temporal container is asked whether it is healthy."
  type        = list(string)
  default     = ["CMD-SHELL", "nc -z \"$(hostname -i)\" 7233"]
}

variable "temporal_environment" {
  description = "Environment of the Temporal image besides and over what temporal.tf sets: visibility, or the names your image reads."
  type        = map(string)
  default     = {}
}
