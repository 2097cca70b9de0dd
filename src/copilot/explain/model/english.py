"""Words of plain English and of our trade, as our own documents use them: enough to tell whether a sentence is English."""

ENGLISH = frozenset(
    """
    a abandoned about above absence absent access action actions activities activity actor actors add added additional
    address addresses after again against age agent agents ages ago agree alert algebra all alone already also
    although always am among amplifier amplifiers an analysis and anew another answer answered answers any anybody
    anyone anything apart api app appears application apprise are arise around arrivals arrived arrives as ask asked
    asking asks assessment asyncpg at attempts aurora auth auto autoscaler autoscaling available average away back
    backend background backlog bad bare base be bear bearer because becomes bedrock been before began begin begins
    behind being below benchmark beside best better between beyond big births blind block blocked blocking boot born
    both bottleneck bound bounded break breakdown breakdowns breaks bring brings broken brought bucket buckets build
    builds built burst business busy but by bytes cache cached caches call called caller callers calls calm came can
    cannot cap capacity carries carry catch catching cause causes certificate chain change changed changes check
    checked checkpoint checks churn class classification claude client clients clock close closed cluster clusters
    code cold colour columns come comes coming command commands common commonest compare compiled complete completed
    completing completions computation computed computes confidence config configuration configure configured
    conflicts connect connection connections consecutive constant container contention context continue continuous
    contract contracts contributing copilot core correctness correlation cosmicpython cost costs could count counted
    counter counters counts coverage covered create credentials critical criticals cumulative current cut cycle
    dashboard dashboards data database day days db dead deadline decide decided decides deduplication default define
    definition demand demo dependency depends deploy deployed deployment derive describe description detail detected
    detection deterministic dev dialect dialects did different direction disk dispatch dispatched dispatcher distance
    do docker docs doctor documents does doing done down drain dropped due during dynamic each eager earliest eight
    either else elsewhere embedded emitted empty end ended endpoint endpoints ends enough ensure entries entry enum
    env environment error errors evaluate evaluation evaluations even event events ever every everybody everything
    everywhere evidence exactly exception exclude execution executions exist exists expected explain explains
    explanation export exports expression expressions extra factors facts fail failed failing failover fails failures
    fake fall falling falls false families family far fast faster fault faults fetch few fewer field fields file files
    filter find finding findings fine finish finished finishes fire fired fires first fit five fixed flaps fleet flow
    flows follows for forbidden format forward found foundation four free fresh from frontend frozen full function
    future gate gates gauge gauges gave generated get gets give given gives go goes going gone good goroutines got
    grades grafana grid group grouped groups grows guard guide had half halved hand happened happies happy has hash
    have having he health healthy held help helps here hero high higher histogram histograms histories history hit
    hits hold holds host hosts hot hour how https httpx hurt i id identify idle ids if ignored image implement
    implementation import imports in incident include included increase index indicators infinity initialize injected
    input inputs inside instead internal interval intervals into invariant invisible is issue issues it its itself
    java job joined judged just kb keep keeps kept key keys kill killed kind know knowledge known knows lab label
    labels language large largest last lasts late latencies latency later law laws lazy leaf least leave leaves left
    less let lets level lie like limit limits line linear lines link links list listed listener listing little live
    liveness load loads local lock locks log logs loki long longer look looked looks loop loops loses losing lost low
    lower lowered lowest machine made main make makes many margin marked matching max may me mean meaning means meant
    measured measures member membership memory mend message met metric metrics might migration milliseconds min minute
    minutes missed misses missing mistakes mixed model models module moment more most mostly move moved moves ms much
    must my name named names namespace narrative near nearly need needed needs neither network never new newer newest
    next no nobody node noise non none nor normal not note nothing now null number numbered numbers object of off
    often old older oldest on once one ones only open opened operation operator optional or order orders other others
    otherwise our out outage output outside over overloaded own owner ownership owns package page pages panel panels
    parameters parse parsed part partition partitions parts pass passages passed passes past pattern patterns pause
    pauses payloads pending people per percent persistence person personal piled piles pin pinned pip pipeline place
    placeholder plain plan point points policy poll polled poller pollers polling polls pool pooler preferred present
    press pressure previous primaries primary principle prints priors probes problem process processes profile
    progress project prometheus prompt property public purpose push put pydantic python quantile quantiles queries
    query question questions queue queues quick quiet raise raises ran range ranked rate rates ratio ratios raw reach
    reachable reached reaches read reading readings reads ready real really reason reasons recent recorded recording
    recordings recovery refresh refreshed refused refuses region release remediations remember remembered renamed
    replaced replay replayed replays reported reporter reports request requests requirements researcher reset resource
    response rest restart restarted restarts restore result retention retried retries retrieval retry return returns
    rich right ring rise rising role roles roll rolling room root round row rows rule rules run runbook running runs
    runtime safe said same sample samples sanitised saw say says scale scaled scaling scenario scenarios sched
    schedule schema scope score scrape scrapes second seconds secret secrets see seed seen sees semaphore sends
    separate series serve served server servers service services set setting settings setup several severity shall
    shape shard shards share shared shares she short should show shows shrink shrinking sibling side sign signal
    signals simply since single six size slack sleep sliding slot sloth slots slow slowly small smallest snapshot so
    some somebody something soon source sources specific spelling spells split spooled spread stable stack stale
    stalled stand stands start started starting starts state states statistics status stay stayed stays steady step
    steps sticky still stock stop stopped stops storage store stored straight stress stressed stresses string
    structure stuck subset success successfully such suffix suggested suggestion sum summary symptoms sync system
    table tables tag take taken takes tally target targets task taskqueue tasks taxonomy team telemetry tell tells
    temporal temporalio terminal terminate terms terraform test tests text texts than that the their them themselves
    then there these they thing things think third this those though three threshold thresholds throttled throttling
    through throughput tick time timed timeline timeout timeouts timer timers times timestamp to today token tokens
    told tomorrow too took tools top traffic transaction transfer transition transitions tree tries trigger true try
    turn turned turnover turns twenty twice two type typer types unavailable under undo unit units unknown unless
    unreachable until up update updates us usable use used user uses usual uv validates value values vanish vector
    vectors verdict verified verify version versioning versions very view views visibility vs wait waited waiting
    waits want wanted wants warning was watch watched way we web webhook well went were wf what whatever when whenever
    where whether which while who whole whom whose why will window wins wire with within without witness words work
    worked worker workers workflow workflows works workspace worse worsening worst would write writes written wrong
    yes yet you your zero
    """.split()
)


_ENDINGS = (
    ("s", ""),
    ("es", ""),
    ("ies", "y"),
    ("ed", ""),
    ("ed", "e"),
    ("ing", ""),
    ("ing", "e"),
    ("ly", ""),
    ("er", ""),
    ("d", ""),
)


def is_english(word: str) -> bool:
    """Whether the word, or what it is a form of, is one of ours."""
    word = word.lower()
    return word in ENGLISH or any(word.endswith(e) and word.removesuffix(e) + stem in ENGLISH for e, stem in _ENDINGS)
