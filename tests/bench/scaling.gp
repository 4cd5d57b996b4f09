# Curves of scaling.py: tables of `folder` to scaling.svg.
set terminal svg size 1000,720 font "sans,13" background "white"
set output folder."/scaling.svg"
set border 3
set tics nomirror out
set grid lc rgb "#dddddd"
set style line 1 lc rgb "#3b6ea8" lw 2 pt 7 ps 0.8
set style line 2 lc rgb "#d05a2a" lw 2 pt 13 ps 0.9
set style line 3 lc rgb "#888888" lw 1.5 dt 2
set multiplot layout 2,2

set title "all-MiniLM-L6-v2, batch of 64"
set xlabel "ranks of one thread"
set ylabel "pairs/s"
stats folder."/ranks.txt" using 2 every ::0::0 nooutput
first = STATS_max
set xrange [0:*]
set yrange [0:*]
set xtics 1
set key bottom right
plot folder."/ranks.txt" using 1:2 with linespoints ls 1 title "measured", \
     '' using 1:($1 * first) with lines ls 3 title "the first times ranks"

set title "all-MiniLM-L6-v2, two ranks"
set xlabel "queries a batch (log scale)"
set logscale x 2
set xrange [*:*]
set xtics auto
plot folder."/batch.txt" using 1:2 with linespoints ls 1 notitle

set title "cost of keeping less"
unset logscale x
set xlabel "share of activations kept"
set ylabel "time, keeping all = 1"
set xrange [0:1]
set yrange [0.95:1.45]
set key top right
plot folder."/budget.txt" using 1:2 with points ls 1 title "measured", \
     (4 - x) / 3 with lines ls 3 title "(4 - r) / 3"

set title "memory by batch"
set logscale xy 2
set xlabel "queries a batch (log scale)"
set ylabel "MiB a rank (log scale)"
set xrange [64:*]
set yrange [64:4096]
set xtics 4
set key top right
plot folder."/memory.txt" using 1:2 with linespoints ls 1 title "static, width 384", \
     '' using 1:3 with lines ls 3 title "planned", \
     folder."/transformer.txt" using 1:2 with linespoints ls 2 title "transformer, budget of 64 MiB", \
     '' using 1:3 with lines ls 3 notitle
