output "api_address" {
  description = "Where services in the Service Connect namespace reach the API and the page."
  value       = "http://copilot-api:8765"
}

output "service_connect_namespace" {
  description = "The namespace to join, for a Grafana on ECS."
  value       = aws_service_discovery_http_namespace.this.arn
}

output "cluster_name" {
  description = "The ECS cluster."
  value       = aws_ecs_cluster.this.name
}

output "database_grants" {
  description = "What the admin of each DSQL cluster says once, before the first deployment; to Temporal's after its schema was made."
  value = {
    (var.dsql_endpoint) = [
      "CREATE ROLE ${var.dsql_role} WITH LOGIN;",
      "CREATE SCHEMA ${var.dsql_role};",
      "GRANT USAGE, CREATE ON SCHEMA ${var.dsql_role} TO ${var.dsql_role};",
      "AWS IAM GRANT ${var.dsql_role} TO '${aws_iam_role.worker.arn}';",
      "AWS IAM GRANT ${var.dsql_role} TO '${aws_iam_role.api.arn}';",
    ]
    (var.temporal_dsql_endpoint) = [
      "CREATE ROLE ${var.temporal_dsql_role} WITH LOGIN;",
      "GRANT USAGE ON SCHEMA public TO ${var.temporal_dsql_role};",
      "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ${var.temporal_dsql_role};",
      "AWS IAM GRANT ${var.temporal_dsql_role} TO '${aws_iam_role.temporal.arn}';",
    ]
  }
}

output "knowledge" {
  description = "The copilot.toml for `copilot kb` on your machine."
  value       = <<-TOML
    [knowledge]
    source = "bedrock"
    knowledge_base_id = "${aws_bedrockagent_knowledge_base.this.id}"
    data_source_id = "${aws_bedrockagent_data_source.runbooks.data_source_id}"
    bucket = "${aws_s3_bucket.runbooks.id}"
    prefix = "${var.knowledge_prefix}"
    region = "${var.region}"
  TOML
}

output "role_arns" {
  description = "The roles, for whoever grants them more, such as a Loki behind IAM."
  value = {
    execution = aws_iam_role.execution.arn
    worker    = aws_iam_role.worker.arn
    api       = aws_iam_role.api.arn
    temporal  = aws_iam_role.temporal.arn
    knowledge = aws_iam_role.knowledge.arn
  }
}

output "runbooks_policy_arn" {
  description = "The policy for whoever runs `copilot kb sync` and `start-ingestion`."
  value       = aws_iam_policy.runbooks.arn
}

output "security_group_ids" {
  description = "The tasks' security groups, for the watched cluster's and Loki's own rules."
  value       = { for service, group in aws_security_group.task : service => group.id }
}
