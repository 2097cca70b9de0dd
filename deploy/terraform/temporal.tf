# The Copilot's own Temporal, on a database of its own: its loops must not stop with what they watch. Every task runs all
# four services of the server. Its schema and its namespace are made with the image's own tools, before (README.md).
locals {
  # The names are those that the images built by iw/temporal-dsql-deploy read; temporal_environment adds to them.
  temporal_environment = merge(
    {
      AWS_REGION                      = var.region
      TEMPORAL_HISTORY_SHARDS         = tostring(var.temporal_history_shards)
      TEMPORAL_LOG_LEVEL              = "info"
      TEMPORAL_SQL_AWS_REGION         = var.region
      TEMPORAL_SQL_CONNECTION_TIMEOUT = "30s"
      TEMPORAL_SQL_DATABASE           = "postgres"
      TEMPORAL_SQL_HOST               = var.temporal_dsql_endpoint
      TEMPORAL_SQL_IAM_AUTH           = "true"
      TEMPORAL_SQL_MAX_CONNS          = "20"
      TEMPORAL_SQL_MAX_CONN_LIFETIME  = "55m"
      TEMPORAL_SQL_MAX_IDLE_CONNS     = "20"
      TEMPORAL_SQL_PLUGIN             = "dsql"
      TEMPORAL_SQL_PLUGIN_NAME        = "dsql"
      TEMPORAL_SQL_PORT               = "5432"
      TEMPORAL_SQL_TLS_ENABLED        = "true"
      TEMPORAL_SQL_USER               = var.temporal_dsql_role
    },
    var.temporal_environment,
  )
}

resource "aws_ecs_task_definition" "temporal" {
  # checkov:skip=CKV_AWS_336:the server's image renders its configuration into itself when it starts
  family                   = "${var.name}-temporal"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = "1024"
  memory                   = "2048"
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.temporal.arn

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.temporal_cpu_architecture
  }

  container_definitions = jsonencode([
    {
      name             = "temporal"
      image            = var.temporal_image
      command          = var.temporal_command
      essential        = true
      linuxParameters  = local.linux_parameters
      logConfiguration = local.log_configuration["temporal"]
      stopTimeout      = 60
      environment      = [for key, value in local.temporal_environment : { name = key, value = value }]
      # No appProtocol: as gRPC, Service Connect would end long polls after 15 seconds.
      portMappings = [{ name = "frontend", containerPort = 7233, hostPort = 7233, protocol = "tcp" }]
      healthCheck = {
        command     = var.temporal_health_command
        interval    = 10
        timeout     = 5
        retries     = 6
        startPeriod = 120
      }
    },
  ])
}

resource "aws_ecs_service" "temporal" {
  name             = "temporal"
  cluster          = aws_ecs_cluster.this.arn
  task_definition  = aws_ecs_task_definition.temporal.arn
  desired_count    = var.temporal_count
  launch_type      = "FARGATE"
  platform_version = "LATEST"
  propagate_tags   = "SERVICE"

  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.private_subnet_ids
    security_groups  = [aws_security_group.task["temporal"].id]
    assign_public_ip = false
  }

  service_connect_configuration {
    enabled   = true
    namespace = aws_service_discovery_http_namespace.this.arn

    service {
      port_name      = "frontend"
      discovery_name = "temporal"

      client_alias {
        dns_name = "temporal"
        port     = 7233
      }
    }
  }

  # A first task that cannot pull, log or connect yet would count as a failed deployment.
  depends_on = [
    aws_iam_role_policy.execution,
    aws_iam_role_policy.temporal_database,
    aws_vpc_endpoint.aws,
    aws_vpc_endpoint.dsql,
    aws_vpc_endpoint.s3,
    aws_vpc_security_group_egress_rule.dsql,
    aws_vpc_security_group_egress_rule.endpoints,
    aws_vpc_security_group_egress_rule.https,
    aws_vpc_security_group_egress_rule.s3,
    aws_vpc_security_group_ingress_rule.dsql,
    aws_vpc_security_group_ingress_rule.endpoints,
  ]
}
