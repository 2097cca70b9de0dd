# The API and the page. Who asks must have one of api_client_security_group_ids (network.tf) and show a token.
resource "aws_ecs_task_definition" "api" {
  family                   = "${var.name}-api"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = "256"
  memory                   = "512"
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.api.arn

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = "X86_64"
  }

  volume {
    name = "tmp"
  }

  container_definitions = jsonencode([
    {
      name                   = "api"
      image                  = var.copilot_image
      command                = ["api"]
      essential              = true
      user                   = "10001:10001"
      readonlyRootFilesystem = true
      linuxParameters        = local.linux_parameters
      ulimits                = local.ulimits
      logConfiguration       = local.log_configuration["api"]
      stopTimeout            = 30
      environment            = [for key, value in local.api_environment : { name = key, value = value }]
      # The API sends heartbeats: it gets the channels, and no key of a model.
      secrets = concat(
        [{ name = "COPILOT_API__TOKENS", valueFrom = var.api_tokens_secret_arn }],
        [for key, arn in var.worker_secrets : { name = key, valueFrom = arn } if key == "COPILOT_NOTIFY"],
      )
      mountPoints = [{ sourceVolume = "tmp", containerPath = "/tmp", readOnly = false }]
      # No appProtocol: as HTTP, Service Connect would end event streams after 15 seconds.
      portMappings = [{ name = "api", containerPort = 8765, hostPort = 8765, protocol = "tcp" }]
      healthCheck = {
        command     = ["CMD", "copilot", "alive", "api"]
        interval    = 15
        timeout     = 10
        retries     = 3
        startPeriod = 30
      }
    },
  ])
}

resource "aws_ecs_service" "api" {
  name             = "api"
  cluster          = aws_ecs_cluster.this.arn
  task_definition  = aws_ecs_task_definition.api.arn
  desired_count    = var.api_count.min
  launch_type      = "FARGATE"
  platform_version = "LATEST"
  propagate_tags   = "SERVICE"

  availability_zone_rebalancing      = "ENABLED"
  health_check_grace_period_seconds  = length(var.api_target_group_arns) > 0 ? 60 : null
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.private_subnet_ids
    security_groups  = [aws_security_group.task["api"].id]
    assign_public_ip = false
  }

  dynamic "load_balancer" {
    for_each = toset(var.api_target_group_arns)

    content {
      target_group_arn = load_balancer.value
      container_name   = "api"
      container_port   = 8765
    }
  }

  service_connect_configuration {
    enabled   = true
    namespace = aws_service_discovery_http_namespace.this.arn

    service {
      port_name      = "api"
      discovery_name = "copilot-api"

      client_alias {
        dns_name = "copilot-api"
        port     = 8765
      }
    }
  }

  lifecycle {
    ignore_changes = [desired_count] # autoscaling.tf
  }

  # A client may connect only to Service Connect names that were there before it.
  depends_on = [aws_ecs_service.temporal, aws_iam_role_policy.api_store]
}
