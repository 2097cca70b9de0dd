{{- /* What the schema cannot see: values that contradict the text of `config`. Each message begins with the key. */ -}}
{{- define "copilot.contradictions" -}}
{{- $config := .Values.config -}}
{{- with regexFind "(?m)(^\\s*|\\{ |, )\\b(bearer_token|basic_password|api_key|client_secret|session_key|token|secret|key|password) *= *[\"']" $config }}
{{- fail (printf "config: it has a secret (%s): name its file instead (%s_file), and mount it by secretFiles" . (regexFind "\\w+" .)) }}
{{- end }}
{{- if regexMatch "(postgres|postgresql|dsql)://" $config }}
{{- fail "config: the store's URL comes from store.existingSecret: take it out" }}
{{- end }}
{{- range $section, $keys := dict "temporal" "temporal.address" "logging" "log.format" "worker" "worker" }}
{{- if regexMatch (printf "(?m)^\\s*\\[%s\\]" $section) $config }}
{{- fail (printf "config: [%s] is made from the values below %s: take it out" $section $keys) }}
{{- end }}
{{- end }}
{{- if regexMatch "\\b(cert_file|key_file)\\b" (regexFind "(?ms)^\\s*\\[api\\]\\s*$[^\\[]*" $config) }}
{{- fail "config: the API of this chart listens without TLS: terminate it in front, and take cert_file out of [api]" }}
{{- end }}
{{- $channels := regexMatch "(?m)^\\s*\\[\\[notify\\]\\]" $config }}
{{- if and $channels .Values.notify.existingSecret }}
{{- fail "notify.existingSecret: config has [[notify]] too: choose one" }}
{{- end }}
{{- $oidc := regexMatch "(?m)^\\s*\\[api\\.oidc\\]" $config }}
{{- if and .Values.api.oidc.enabled (not $oidc) }}
{{- fail "api.oidc.enabled: config has no [api.oidc], which says with which provider people log in" }}
{{- end }}
{{- if and $oidc (not .Values.api.oidc.enabled) }}
{{- fail "api.oidc.enabled: config has [api.oidc]: set it to true, and name the Secret with the session key" }}
{{- end }}
{{- $namespaces := list }}
{{- range regexFindAll "[\"']kubernetes:[^/\"']+/" $config -1 }}
{{- $namespaces = append $namespaces (regexReplaceAll "^.kubernetes:|/$" . "") }}
{{- end }}
{{- range uniq $namespaces }}
{{- if not (has . $.Values.kubernetesDiscovery.namespaces) }}
{{- fail (printf "kubernetesDiscovery.namespaces: config discovers pods of %s: add it" .) }}
{{- end }}
{{- end }}
{{- range .Values.kubernetesDiscovery.namespaces }}
{{- if not (has . $namespaces) }}
{{- fail (printf "kubernetesDiscovery.namespaces: config discovers no pods of %s: take it out" .) }}
{{- end }}
{{- end }}
{{- end }}
