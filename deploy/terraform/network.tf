# A security group for each service. Nothing comes in but what is listed, and nothing goes out but what is called: AWS
# and what HTTPS is allowed to (443), Loki (3100), DSQL (5432), Temporal frontends (7233) and the services themselves.
resource "aws_security_group" "task" {
  for_each = local.services

  name        = "${var.name}-${each.key}"
  description = "The ${each.key} tasks of ${var.name}"
  vpc_id      = var.vpc_id

  lifecycle {
    create_before_destroy = true
  }
}

locals {
  membership = { services = { from = 7233, to = 7239 }, gossip = { from = 6933, to = 6939 } }
}

resource "aws_vpc_security_group_ingress_rule" "temporal" {
  for_each = toset(["worker", "api"])

  security_group_id            = aws_security_group.task["temporal"].id
  description                  = "${each.key} calls the frontend"
  ip_protocol                  = "tcp"
  from_port                    = 7233
  to_port                      = 7233
  referenced_security_group_id = aws_security_group.task[each.key].id
}

resource "aws_vpc_security_group_egress_rule" "temporal" {
  for_each = toset(["worker", "api"])

  security_group_id            = aws_security_group.task[each.key].id
  description                  = "The Copilot's own Temporal"
  ip_protocol                  = "tcp"
  from_port                    = 7233
  to_port                      = 7233
  referenced_security_group_id = aws_security_group.task["temporal"].id
}

# Tasks of the Temporal server, and the old and the new one while it is deployed, are one ring.
resource "aws_vpc_security_group_ingress_rule" "membership" {
  for_each = local.membership

  security_group_id            = aws_security_group.task["temporal"].id
  description                  = "Temporal's tasks among themselves"
  ip_protocol                  = "tcp"
  from_port                    = each.value.from
  to_port                      = each.value.to
  referenced_security_group_id = aws_security_group.task["temporal"].id
}

resource "aws_vpc_security_group_egress_rule" "membership" {
  for_each = local.membership

  security_group_id            = aws_security_group.task["temporal"].id
  description                  = "Temporal's tasks among themselves"
  ip_protocol                  = "tcp"
  from_port                    = each.value.from
  to_port                      = each.value.to
  referenced_security_group_id = aws_security_group.task["temporal"].id
}

resource "aws_vpc_security_group_ingress_rule" "api" {
  for_each = toset(var.api_client_security_group_ids)

  security_group_id            = aws_security_group.task["api"].id
  description                  = "Callers of the API"
  ip_protocol                  = "tcp"
  from_port                    = 8765
  to_port                      = 8765
  referenced_security_group_id = each.value
}

resource "aws_vpc_security_group_egress_rule" "watched_temporal" {
  for_each = toset(var.watched_temporal_cidr_blocks)

  security_group_id = aws_security_group.task["worker"].id
  description       = "Frontends of the watched clusters"
  ip_protocol       = "tcp"
  from_port         = 7233
  to_port           = 7233
  cidr_ipv4         = each.value
}

resource "aws_vpc_security_group_egress_rule" "loki" {
  for_each = toset(var.loki_cidr_blocks)

  security_group_id = aws_security_group.task["worker"].id
  description       = "Loki"
  ip_protocol       = "tcp"
  from_port         = 3100
  to_port           = 3100
  cidr_ipv4         = each.value
}

resource "aws_vpc_security_group_egress_rule" "https" {
  for_each = { for pair in setproduct(local.services, var.https_egress_cidr_blocks) : "${pair[0]} ${pair[1]}" => pair }

  security_group_id = aws_security_group.task[each.value[0]].id
  description       = "HTTPS besides the endpoints"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = each.value[1]
}
