"""The activities: they read sources, apply the rules, ask models, store and notify, over injected clients."""
