# The Copilot's settings, as environment of its containers.
locals {
  amp_url = "https://aps-workspaces.${var.region}.amazonaws.com/workspaces/${var.amp_workspace_id}"

  clusters = [
    for cluster in var.clusters : {
      for key, value in {
        name       = cluster.name
        prometheus = { url = local.amp_url, selector = cluster.selector, sigv4 = { region = var.region } }
        temporal   = cluster.temporal_address == null ? null : { address = cluster.temporal_address }
        logs       = var.loki_url == null || cluster.log_query == null ? null : { loki = { url = var.loki_url, query = cluster.log_query } }
      } : key => value if value != null
    }
  ]

  copilot_environment = {
    COPILOT_CLUSTERS            = jsonencode(local.clusters)
    COPILOT_LOGGING__FORMAT     = "json"
    COPILOT_LOG_LEVEL           = var.log_level
    COPILOT_STORE__URL          = "dsql://${var.dsql_role}@${var.dsql_endpoint}"
    COPILOT_TEMPORAL__ADDRESS   = "temporal:7233"
    COPILOT_TEMPORAL__NAMESPACE = var.temporal_namespace
  }

  worker_environment = merge(
    local.copilot_environment,
    {
      AWS_REGION                           = var.region
      COPILOT_WORKER__ALIVE_FILE           = "/tmp/copilot-worker.alive"
      COPILOT_KNOWLEDGE__SOURCE            = "bedrock"
      COPILOT_KNOWLEDGE__KNOWLEDGE_BASE_ID = aws_bedrockagent_knowledge_base.this.id
      COPILOT_KNOWLEDGE__REGION            = var.region
    },
    var.worker_environment,
  )

  api_environment = merge(
    local.copilot_environment,
    {
      AWS_REGION        = var.region
      COPILOT_API__HOST = "0.0.0.0"
      COPILOT_API__PORT = "8765"
    },
    var.api_environment,
  )
}
