# The worker's task begins with what must be there before it: the tables, then the loops. Both commands do nothing where
# there is nothing to do, so that each task may run them. They are in this task because only services have Service Connect.
locals {
  worker_container = {
    image                  = var.copilot_image
    user                   = "10001:10001"
    readonlyRootFilesystem = true
    linuxParameters        = local.linux_parameters
    ulimits                = local.ulimits
    logConfiguration       = local.log_configuration["worker"]
    environment            = [for key, value in local.worker_environment : { name = key, value = value }]
    secrets                = [for key, arn in var.worker_secrets : { name = key, valueFrom = arn }] # start reads COPILOT_NOTIFY too
    mountPoints            = [{ sourceVolume = "tmp", containerPath = "/tmp", readOnly = false }]
  }
}

resource "aws_ecs_task_definition" "worker" {
  family                   = "${var.name}-worker"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = "512"
  memory                   = "1024"
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.worker.arn

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = "X86_64"
  }

  volume {
    name = "tmp"
  }

  container_definitions = jsonencode([
    merge(local.worker_container, {
      name      = "schema"
      command   = ["db", "setup-schema"]
      essential = false
    }),
    merge(local.worker_container, {
      name      = "start"
      command   = ["start"]
      essential = false
      dependsOn = [{ containerName = "schema", condition = "SUCCESS" }]
    }),
    merge(local.worker_container, {
      name        = "worker"
      command     = ["worker"]
      essential   = true
      stopTimeout = 30
      dependsOn   = [{ containerName = "start", condition = "SUCCESS" }]
      healthCheck = {
        command     = ["CMD", "copilot", "alive", "worker"]
        interval    = 15
        timeout     = 10
        retries     = 3
        startPeriod = 60
      }
    }),
  ])
}

resource "aws_ecs_service" "worker" {
  name             = "worker"
  cluster          = aws_ecs_cluster.this.arn
  task_definition  = aws_ecs_task_definition.worker.arn
  desired_count    = var.worker_count.min
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
    security_groups  = [aws_security_group.task["worker"].id]
    assign_public_ip = false
  }

  service_connect_configuration {
    enabled   = true
    namespace = aws_service_discovery_http_namespace.this.arn
  }

  lifecycle {
    ignore_changes = [desired_count] # autoscaling.tf
  }

  # A client may connect only to Service Connect names that were there before it.
  depends_on = [aws_ecs_service.temporal, aws_iam_role_policy.worker, aws_iam_role_policy.worker_store]
}
