resource "aws_ecs_cluster" "this" {
  name = var.name

  setting {
    name  = "containerInsights"
    value = "enabled"
  }

  service_connect_defaults {
    namespace = aws_service_discovery_http_namespace.this.arn
  }
}

resource "aws_ecs_cluster_capacity_providers" "this" {
  cluster_name       = aws_ecs_cluster.this.name
  capacity_providers = ["FARGATE"]

  default_capacity_provider_strategy {
    capacity_provider = "FARGATE"
    weight            = 1
  }
}

# Service Connect: the services find each other as temporal:7233 and copilot-api:8765.
resource "aws_service_discovery_http_namespace" "this" {
  name        = var.name
  description = "The Copilot's services among themselves"
}

locals {
  services = toset(["temporal", "worker", "api"])

  # What every container of ours says about its log.
  log_configuration = {
    for service in local.services : service => {
      logDriver = "awslogs"
      options = {
        "awslogs-group"         = aws_cloudwatch_log_group.service[service].name
        "awslogs-region"        = var.region
        "awslogs-stream-prefix" = service
        "mode"                  = "non-blocking"
        "max-buffer-size"       = "4m"
      }
    }
  }

  # No capabilities, and an init process that passes SIGTERM on.
  linux_parameters = { initProcessEnabled = true, capabilities = { drop = ["ALL"] } }

  # Connections are sockets: more than max_connections of [api].
  ulimits = [{ name = "nofile", softLimit = 65536, hardLimit = 65536 }]
}

resource "aws_cloudwatch_log_group" "service" {
  for_each = local.services

  name              = "/ecs/${var.name}/${each.key}"
  retention_in_days = var.log_retention_days
  kms_key_id        = aws_kms_key.this.arn
}
