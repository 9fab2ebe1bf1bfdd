"""One workload under load: one query after the other, or as MLPerf's LoadGen sends them."""
