# AWS without the internet. What is not here is not called: ECS's own agents do not go through the tasks' addresses.
locals {
  endpoint_services = var.create_vpc_endpoints ? toset(["aps-workspaces", "bedrock-agent-runtime", "bedrock-runtime", "ecr.api", "ecr.dkr", "logs", "secretsmanager"]) : toset([])
  endpoint_callers  = var.create_vpc_endpoints ? local.services : toset([])
  dsql_endpoints    = length(var.dsql_endpoint_service_names) > 0
}

resource "aws_vpc_endpoint" "aws" {
  for_each = local.endpoint_services

  vpc_id              = var.vpc_id
  vpc_endpoint_type   = "Interface"
  service_name        = "com.amazonaws.${var.region}.${each.value}"
  subnet_ids          = var.private_subnet_ids
  security_group_ids  = [aws_security_group.endpoints.id]
  private_dns_enabled = true
  tags                = { Name = "${var.name}-${each.value}" }
}

# The layers of images come from S3.
resource "aws_vpc_endpoint" "s3" {
  count = var.create_vpc_endpoints ? 1 : 0

  vpc_id            = var.vpc_id
  vpc_endpoint_type = "Gateway"
  service_name      = "com.amazonaws.${var.region}.s3"
  route_table_ids   = var.route_table_ids
  tags              = { Name = "${var.name}-s3" }
}

resource "aws_vpc_endpoint" "dsql" {
  for_each = var.dsql_endpoint_service_names

  vpc_id              = var.vpc_id
  vpc_endpoint_type   = "Interface"
  service_name        = each.value
  subnet_ids          = var.private_subnet_ids
  security_group_ids  = [aws_security_group.endpoints.id]
  private_dns_enabled = true
  tags                = { Name = "${var.name}-dsql" }
}

resource "aws_security_group" "endpoints" {
  name        = "${var.name}-endpoints"
  description = "VPC endpoints of ${var.name}"
  vpc_id      = var.vpc_id

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "endpoints" {
  for_each = local.endpoint_callers

  security_group_id            = aws_security_group.endpoints.id
  description                  = "${each.key} calls AWS"
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  referenced_security_group_id = aws_security_group.task[each.key].id
}

resource "aws_vpc_security_group_egress_rule" "endpoints" {
  for_each = local.endpoint_callers

  security_group_id            = aws_security_group.task[each.key].id
  description                  = "AWS by its endpoints"
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  referenced_security_group_id = aws_security_group.endpoints.id
}

resource "aws_vpc_security_group_egress_rule" "s3" {
  for_each = local.endpoint_callers

  security_group_id = aws_security_group.task[each.key].id
  description       = "Layers of images, in S3"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  prefix_list_id    = aws_vpc_endpoint.s3[0].prefix_list_id
}

resource "aws_vpc_security_group_ingress_rule" "dsql" {
  for_each = local.dsql_endpoints ? local.services : toset([])

  security_group_id            = aws_security_group.endpoints.id
  description                  = "${each.key} calls Aurora DSQL"
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
  referenced_security_group_id = aws_security_group.task[each.key].id
}

resource "aws_vpc_security_group_egress_rule" "dsql" {
  for_each = local.services

  security_group_id            = aws_security_group.task[each.key].id
  description                  = "Aurora DSQL"
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
  referenced_security_group_id = local.dsql_endpoints ? aws_security_group.endpoints.id : null
  cidr_ipv4                    = local.dsql_endpoints ? null : "0.0.0.0/0" # DSQL has no addresses of its own to name
}
