-- From when to when the kept events are, as text in UTC; NULL where no time is known.
SELECT
    strftime(make_timestamp_ms(min(time_ms)), '%Y-%m-%d %H:%M'),
    strftime(make_timestamp_ms(max(time_ms)), '%Y-%m-%d %H:%M')
FROM ordered;
