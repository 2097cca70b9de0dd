{{- /* What every pod has: list $ "worker". The service account is the caller's. */ -}}
{{- define "copilot.pod" -}}
{{- $ := index . 0 -}}
{{- with $.Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
enableServiceLinks: false
terminationGracePeriodSeconds: 30
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
volumes:
  - name: tmp
    emptyDir: {sizeLimit: 128Mi}
  - name: config
    configMap: {name: {{ include "copilot.fullname" $ }}}
{{- if $.Values.temporal.existingSecret }}
  - name: temporal
    secret: {secretName: {{ $.Values.temporal.existingSecret }}}
{{- end }}
{{- range $secret, $folder := $.Values.secretFiles }}
  - name: secret-{{ $folder }}
    secret: {secretName: {{ $secret }}}
{{- end }}
{{- end }}

{{- /* Pods of a Deployment are spread, and go where its values say: list $ "worker". */ -}}
{{- define "copilot.placing" -}}
{{- $ := index . 0 -}}
{{- $both := . -}}
{{- $values := index $.Values (index . 1) -}}
topologySpreadConstraints:
{{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - topologyKey: {{ . }}
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "copilot.selector" $both | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* What every container has besides its name, command and environment. */ -}}
{{- define "copilot.container" -}}
image: {{ include "copilot.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  - {name: config, mountPath: /etc/copilot/copilot.toml, subPath: copilot.toml, readOnly: true}
{{- if .Values.temporal.existingSecret }}
  - {name: temporal, mountPath: /etc/copilot/temporal, readOnly: true}
{{- end }}
{{- range $secret, $folder := .Values.secretFiles }}
  - {name: secret-{{ $folder }}, mountPath: /etc/copilot/secrets/{{ $folder }}, readOnly: true}
{{- end }}
{{- end }}

{{- define "copilot.storeEnv" -}}
- name: COPILOT_STORE__URL
  valueFrom: {secretKeyRef: {name: {{ .Values.store.existingSecret }}, key: {{ .Values.store.key }}}}
{{- range $name, $value := .Values.env }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{- /* The environment of worker, API and start. */ -}}
{{- define "copilot.env" -}}
{{ include "copilot.storeEnv" . }}
- name: COPILOT_TEMPORAL__ADDRESS
  value: {{ .Values.temporal.address | quote }}
- name: COPILOT_TEMPORAL__NAMESPACE
  value: {{ .Values.temporal.namespace | quote }}
{{- with .Values.temporal.profile }}
- name: COPILOT_TEMPORAL__PROFILE
  value: {{ . | quote }}
{{- end }}
{{- if .Values.temporal.existingSecret }}
- name: TEMPORAL_CONFIG_FILE
  value: /etc/copilot/temporal/temporal.toml
{{- end }}
- name: COPILOT_LOG_LEVEL
  value: {{ .Values.log.level }}
- name: COPILOT_LOGGING__FORMAT
  value: {{ .Values.log.format }}
{{- with .Values.api.publicUrl }}
- name: COPILOT_API__PUBLIC_URL
  value: {{ . | quote }}
{{- end }}
{{- if .Values.notify.existingSecret }}
- name: COPILOT_NOTIFY
  valueFrom: {secretKeyRef: {name: {{ .Values.notify.existingSecret }}, key: {{ .Values.notify.key }}}}
{{- end }}
{{- end }}
